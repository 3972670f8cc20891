"use strict";
// Sorts a table of class "sortable" by the column whose heading is pressed. A cell's data-value, where it has one, goes before its text;
// columns of class "number" begin with the largest, and cells without a value stay at the end.
const collator = new Intl.Collator(undefined, { numeric: true });

function value(row, column) {
  const cell = row.cells[column];
  return cell.dataset.value ?? cell.textContent.trim();
}

function sort(table, head, heads) {
  const numeric = head.classList.contains("number");
  const turned = head.getAttribute("aria-sort") === (numeric ? "descending" : "ascending");
  const sign = numeric === turned ? 1 : -1;
  const column = heads.indexOf(head);
  const compare = numeric ? (a, b) => a - b : collator.compare;
  const rows = Array.from(table.tBodies[0].rows, (row) => [value(row, column), row]);
  rows.sort(([a], [b]) => (a === "") - (b === "") || (a === "" ? 0 : sign * compare(a, b)));
  table.tBodies[0].append(...rows.map(([, row]) => row));
  heads.forEach((other) => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
}

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = Array.from(table.tHead.rows[0].cells);
  for (const head of heads) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(table, head, heads));
    head.append(button);
  }
}
