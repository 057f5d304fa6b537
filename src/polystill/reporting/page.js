// Draws every chart at the width it has, in the colours of the page, and again when the page changes between light and
// dark. A tooltip shows a mark's figures; the tables beside the charts hold the same ones.
const read = (id) => JSON.parse(document.getElementById(id).textContent);
const charts = read("charts");
const themes = read("themes");
const dark = window.matchMedia("(prefers-color-scheme: dark)");

async function draw() {
  const name = dark.matches ? "dark" : "light";
  for (const { name: chart, description, spec } of charts) {
    const whole = { ...spec, description, width: "container", autosize: { type: "fit-x", contains: "padding" } };
    const place = document.getElementById(`chart-${chart}`);
    const options = { mode: "vega-lite", renderer: "svg", actions: false, tooltip: { theme: name } };
    place.replaceChildren();
    await window.vegaEmbed(place, whole, { ...options, config: themes[name] });
  }
  document.documentElement.dataset.drawn = name;
}

dark.addEventListener("change", draw);
draw();
