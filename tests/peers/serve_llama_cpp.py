"""llama.cpp's own HTTP server, as xllamacpp carries it: python tests/peers/serve_llama_cpp.py MODEL PORT"""

import os
import sys
import threading

import xllamacpp  # type: ignore[import-not-found]

params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.model_alias = {"tiny"}
params.hostnames = ["127.0.0.1"]
params.port = int(sys.argv[2])
params.n_ctx = 4096
params.n_parallel = 4
params.warmup = False
server = xllamacpp.Server(params)
# In one piece and on a line of its own: the server writes its log here too, in pieces.
os.write(1, f"\nlistening at {server.listening_address}\n".encode())
threading.Event().wait()
