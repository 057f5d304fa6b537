// A student in this browser: Bergamot's runtime and the model's files come from the server, the text stays here.

const translators = new Map();

async function load(student, say) {
  say("Loading the model …");
  const { LatencyOptimisedTranslator, TranslatorBacking } = await import("../bergamot/runtime/translator.js");
  const folder = new URL(`../bergamot/models/${student}/`, import.meta.url);
  const response = await fetch(new URL("metadata.json", folder));
  if (!response.ok) throw new Error("The server has no such model.");
  const { sourceLanguage: from, targetLanguage: to, files } = await response.json();

  class FromServer extends TranslatorBacking {
    async loadModelRegistery() {
      return [{ from, to, files }];
    }
    async fetch(name, checksum, extra) {
      return super.fetch(new URL(name, folder), checksum, extra);
    }
  }

  let broken;
  const failed = new Promise((_, reject) => (broken = reject));
  const backing = new FromServer({ pivotLanguage: null });
  backing.onerror = (event) => broken(new Error(`The runtime does not start: ${event.message ?? event}`));
  const translator = new LatencyOptimisedTranslator({}, backing);
  const ask = (text) => Promise.race([translator.translate({ from, to, text, html: false }), failed]);
  await ask(".");
  return ask;
}

export async function translateHere(student, text, say) {
  if (!translators.has(student)) {
    translators.set(student, load(student, say));
    translators.get(student).catch(() => translators.delete(student));
  }
  const ask = await translators.get(student);
  const start = performance.now();
  const answer = await ask(text);
  return { translation: answer.target.text, milliseconds: performance.now() - start };
}
