// Translate stdin's lines, text or HTML, with a Bergamot export: node bergamot.mjs NODE_MODULES EXPORT [html]
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { gunzipSync } from "node:zlib";

const [modules, folder, kind] = process.argv.slice(2);
const { BatchTranslator, TranslatorBacking } = await import(
  pathToFileURL(`${modules}/@browsermt/bergamot-translator/translator.js`)
);
const metadata = JSON.parse(readFileSync(`${folder}/metadata.json`, "utf8"));
const from = metadata.sourceLanguage;
const to = metadata.targetLanguage;

// The runtime's own way, but for downloads: files lie here, and are unpacked as a browser would.
class Local extends TranslatorBacking {
  async loadModelRegistery() {
    return [{ from, to, files: metadata.files }];
  }
  async fetch(name) {
    const content = gunzipSync(readFileSync(`${folder}/${name}.gz`));
    return content.buffer.slice(content.byteOffset, content.byteOffset + content.byteLength);
  }
}

const translator = new BatchTranslator({}, new Local({}));
const lines = readFileSync(0, "utf8").replace(/\n$/, "").split("\n");
const answers = await Promise.all(lines.map((text) => translator.translate({ from, to, text, html: kind === "html" })));
for (const answer of answers) console.log(answer.target.text);
await translator.delete();
