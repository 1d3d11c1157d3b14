"""Writes a language model of 350 KB, for servers that run GGUF files: python tests/peers/tiny_gguf.py PATH

Its weights are random numbers, always the same: what it says makes no sense, but with temperature 0 it says
it again. It never ends by itself, and says printable characters only. Needs gguf, of requirements/peers.txt.
"""

import sys

import gguf  # type: ignore[import-not-found]
import numpy as np  # type: ignore[import-not-found]

WIDTH, HEADS, HIDDEN, CONTEXT = 64, 4, 128, 1024
CONTROL = ("<unk>", "<s>", "</s>")
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
TEXT = (*(chr(code).replace(" ", "▁") for code in range(32, 127)), "▁the", "é", "日本", "👩")
TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


def describe(model: "gguf.GGUFWriter") -> None:
    """What a server has to know before it reads the weights."""
    model.add_name("tiny")
    model.add_context_length(CONTEXT)
    model.add_embedding_length(WIDTH)
    model.add_block_count(1)
    model.add_feed_forward_length(HIDDEN)
    model.add_head_count(HEADS)
    model.add_head_count_kv(HEADS)
    model.add_layer_norm_rms_eps(1e-5)
    model.add_rope_dimension_count(WIDTH // HEADS)


def add_vocabulary(model: "gguf.GGUFWriter") -> None:
    """Every byte, every printable character, and some more text, as a SentencePiece vocabulary."""
    tokens = [*CONTROL, *BYTES, *TEXT]
    kind = gguf.TokenType
    kinds = [kind.UNKNOWN, kind.CONTROL, kind.CONTROL, *[kind.BYTE] * len(BYTES), *[kind.NORMAL] * len(TEXT)]
    model.add_vocab_size(len(tokens))
    model.add_tokenizer_model("llama")
    model.add_token_list([token.encode() for token in tokens])
    model.add_token_scores([-float(place) for place in range(len(tokens))])
    model.add_token_types([int(each) for each in kinds])
    model.add_unk_token_id(0)
    model.add_bos_token_id(1)
    model.add_eos_token_id(2)
    model.add_chat_template(TEMPLATE)


def add_weights(model: "gguf.GGUFWriter") -> None:
    """One layer."""
    random = np.random.default_rng(7)
    size = len(CONTROL) + len(BYTES) + len(TEXT)
    square, shapes = (WIDTH, WIDTH), {"ffn_gate": (HIDDEN, WIDTH), "ffn_up": (HIDDEN, WIDTH)}
    shapes |= {"ffn_down": (WIDTH, HIDDEN), "attn_q": square, "attn_k": square, "attn_v": square}
    shapes["attn_output"] = square
    for name, shape in shapes.items():
        model.add_tensor(f"blk.0.{name}.weight", (random.standard_normal(shape) * 0.3).astype(np.float32))
    for name in ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"):
        model.add_tensor(f"{name}.weight", np.ones(WIDTH, np.float32))
    model.add_tensor("token_embd.weight", random.standard_normal((size, WIDTH)).astype(np.float32))
    output = random.standard_normal((size, WIDTH)).astype(np.float32)
    output[: len(CONTROL) + len(BYTES)] = 0  # some other token is always likelier than these
    model.add_tensor("output.weight", output)


def main(path: str) -> None:
    model = gguf.GGUFWriter(path, "llama")
    describe(model)
    add_vocabulary(model)
    add_weights(model)
    model.write_header_to_file()
    model.write_kv_data_to_file()
    model.write_tensors_to_file()
    model.close()


if __name__ == "__main__":
    main(sys.argv[1])
