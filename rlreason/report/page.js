
"use strict";
const options = {responsive: true, displayModeBar: false};
for (const block of document.querySelectorAll("script[data-plot]")) {
  const figure = JSON.parse(block.textContent);
  Plotly.newPlot(block.dataset.plot, figure.data, figure.layout, options);
}

/* A click on a heading sorts its table: numbers from the largest, words from A, a dash last;
   a second click reverses. */
function sortKey(row, column) {
  const cell = row.cells[column];
  return "sort" in cell.dataset ? parseFloat(cell.dataset.sort) : cell.textContent.trim();
}
function compare(a, b, order) {
  if (typeof a === "string") return order * a.localeCompare(b);
  if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);
  return order * (b - a);
}
for (const table of document.querySelectorAll("table.sortable")) {
  for (const heading of table.tHead.rows[0].cells) {
    heading.addEventListener("click", () => {
      const order = heading.dataset.order === "1" ? -1 : 1;
      for (const other of table.tHead.rows[0].cells) delete other.dataset.order;
      heading.dataset.order = order;
      const rows = [...table.tBodies[0].rows];
      const column = heading.cellIndex;
      rows.sort((a, b) => compare(sortKey(a, column), sortKey(b, column), order));
      table.tBodies[0].append(...rows);
    });
  }
}
