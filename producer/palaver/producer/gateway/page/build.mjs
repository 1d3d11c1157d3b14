// Makes static/ from src/ and from the libraries; with --check it tells whether static/ is what would be made.
import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const modules = join(here, "node_modules");
const VENDORED = {
  "marked/lib/marked.esm.js": "vendor/marked.js",
  "marked/LICENSE": "vendor/marked.LICENSE.txt",
  "dompurify/dist/purify.es.mjs": "vendor/purify.js",
  "dompurify/LICENSE": "vendor/purify.LICENSE.txt",
  "swagger-ui-dist/swagger-ui-bundle.js": "vendor/swagger-ui.js",
  "swagger-ui-dist/swagger-ui.css": "vendor/swagger-ui.css",
  "swagger-ui-dist/LICENSE": "vendor/swagger-ui.LICENSE.txt",
};

function make(folder) {
  const compiler = join(modules, "typescript", "bin", "tsc");
  execFileSync(process.execPath, [compiler, "--project", here, "--outDir", folder], { stdio: "inherit" });
  for (const [from, to] of Object.entries(VENDORED)) cpSync(join(modules, from), join(folder, to));
}

function stale(folder) {
  const made = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(folder.length + 1));
  const differs = (name) => {
    try {
      return !readFileSync(join(folder, name)).equals(readFileSync(join(here, "static", name)));
    } catch {
      return true; // it is not there
    }
  };
  const left = readdirSync(join(here, "static")).filter((name) => name.endsWith(".js") && !made.includes(name));
  return [...made.filter(differs), ...left];
}

if (process.argv.includes("--check")) {
  const folder = mkdtempSync(join(tmpdir(), "palaver-page-"));
  try {
    make(folder);
    const names = stale(folder);
    if (names.length) {
      console.error(`static/ is not what src/ makes: ${names.join(", ")}. Say make page-build.`);
      process.exitCode = 1;
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
} else {
  make(join(here, "static"));
}
