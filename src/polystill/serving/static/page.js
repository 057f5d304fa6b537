// Ask every chosen student for the same text, one after another, so that none slows another's time.

const form = document.getElementById("form");
const text = document.getElementById("text");
const go = document.getElementById("go");
const list = document.getElementById("list");
const status = document.getElementById("status");
const boxes = [...document.querySelectorAll("input[name=student]")];
const { source, target } = document.body.dataset;
let round = 0;

function chosen() {
  return boxes.filter((box) => box.checked);
}

function markChart() {
  const names = new Set(chosen().map((box) => box.value));
  for (const circle of document.querySelectorAll("circle[data-model]")) {
    circle.classList.toggle("chosen", names.has(circle.dataset.model));
  }
}

function paragraph(kind, words) {
  const made = document.createElement("p");
  made.className = kind;
  made.textContent = words;
  return made;
}

function card(box) {
  const item = document.createElement("li");
  const head = paragraph("head", "");
  const name = document.createElement("strong");
  name.textContent = box.dataset.browser ? `${box.value} in this browser` : box.value;
  const facts = document.createElement("span");
  facts.className = "facts";
  facts.textContent = box.dataset.facts;
  head.append(name, facts);
  const answer = paragraph("text", "…");
  answer.lang = target;
  item.append(head, answer);
  list.append(item);
  return {
    show(translation, milliseconds) {
      answer.textContent = translation;
      const time = `${milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds)} ms`;
      facts.textContent = [box.dataset.facts, time].filter(Boolean).join(" · ");
    },
    say(message) {
      answer.textContent = message;
    },
    fail(message) {
      answer.removeAttribute("lang");
      answer.className = "wrong";
      answer.textContent = message;
    },
  };
}

async function askServer(model, q) {
  const body = { q, source, target, model };
  const key = document.getElementById("key");
  if (key) body.api_key = key.value;
  const response = await fetch("translate", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const content = await response.json().catch(() => ({}));
  if (!response.ok || !("translatedText" in content)) {
    throw new Error(content.error ?? `The server answers with status ${response.status}.`);
  }
  const duration = /dur=([\d.]+)/.exec(response.headers.get("server-timing") ?? "");
  return { translation: content.translatedText, milliseconds: duration ? Number(duration[1]) : NaN };
}

async function askBrowser(model, q, say) {
  const { translateHere } = await import("./bergamot.js");
  return translateHere(model, q, say);
}

async function translateAll() {
  const mine = ++round;
  const wanted = chosen();
  const q = text.value;
  if (!q.trim() || !wanted.length) {
    status.textContent = q.trim() ? "Choose a student." : "Type a text first.";
    (q.trim() ? boxes[0] : text).focus();
    return;
  }
  list.replaceChildren();
  const cards = wanted.map(card);
  go.setAttribute("aria-disabled", "true");
  let done = 0;
  for (const [i, box] of wanted.entries()) {
    status.textContent = `${done} of ${wanted.length} done …`;
    try {
      const ask = box.dataset.browser ? askBrowser : askServer;
      const { translation, milliseconds } = await ask(box.value, q, cards[i].say);
      if (mine !== round) return;
      cards[i].show(translation, milliseconds);
      done += 1;
    } catch (error) {
      if (mine !== round) return;
      cards[i].fail(error instanceof TypeError ? "The server does not answer." : error.message);
    }
  }
  const failed = wanted.length - done;
  status.textContent = `${done} translation${done === 1 ? "" : "s"}${failed ? `, ${failed} failed` : ""}.`;
  go.removeAttribute("aria-disabled");
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  translateAll();
});
text.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    form.requestSubmit();
  }
});
for (const [id, checked] of [["all", true], ["none", false]]) {
  document.getElementById(id).addEventListener("click", () => {
    for (const box of boxes) box.checked = checked;
    markChart();
  });
}
form.addEventListener("change", markChart);
markChart();
