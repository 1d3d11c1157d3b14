from palaver.workers.files import TextExtractor


class CustomExtractor(TextExtractor):
    def extract_text(self, file_path: str, lang: str = "eng") -> str:
        with open(file_path, encoding="utf-8") as file:
            return f"[{lang}] {file.read()}"
