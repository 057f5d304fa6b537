// Draws every chart at the width it has, in the colours of the page, and again when the page changes between light and
// dark. A tooltip shows a mark's figures; the tables beside the charts hold the same ones.
const read = (id) => JSON.parse(document.getElementById(id).textContent);
const charts = read("charts");
const themes = read("themes");
const dark = window.matchMedia("(prefers-color-scheme: dark)");

// A chart that is alone in its section has its table beside it, and one that is not shares its row, where that leaves
// the table its width. Otherwise the table stands below the chart, over the width of the page.
function arrange() {
  for (const figure of document.querySelectorAll("figure")) {
    const table = figure.querySelector(":scope > .table > .scroll");
    if (!table) continue;
    const isCut = () => table.scrollWidth > table.clientWidth;
    const alone = figure.matches(":only-of-type");
    figure.classList.toggle("beside", alone);
    figure.classList.remove("wide");
    if (!isCut()) continue;
    figure.classList.remove("beside");
    figure.classList.add("wide");
  }
}

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

arrange();
window.addEventListener("resize", arrange);
dark.addEventListener("change", draw);
draw();
