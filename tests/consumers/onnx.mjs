// Translate stdin's lines with an ONNX export: node onnx.mjs NODE_MODULES EXPORT
import { readFileSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [modules, folder] = process.argv.slice(2);
const main = `${modules}/@huggingface/transformers/dist/transformers.node.mjs`;
const { env, pipeline } = await import(pathToFileURL(main));
env.allowRemoteModels = false;
env.localModelPath = path.dirname(path.resolve(folder));
const translate = await pipeline("translation", path.basename(folder), { dtype: "fp32" });
const lines = readFileSync(0, "utf8").replace(/\n$/, "").split("\n");
for (const line of lines) {
  const [answer] = await translate(line);
  console.log(answer.translation_text);
}
