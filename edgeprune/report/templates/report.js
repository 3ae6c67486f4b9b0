// Sorting the per-layer table; without JavaScript the headings stay plain text.
for (const heading of document.querySelectorAll("table.layers thead th")) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...heading.childNodes);
  heading.append(button);
  button.addEventListener("click", () => {
    const body = heading.closest("table").tBodies[0];
    const direction = heading.getAttribute("aria-sort") === "descending" ? 1 : -1;
    for (const other of heading.parentNode.children) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
    const key = (row) => row.cells[heading.cellIndex].dataset.sort;
    const numeric = heading.dataset.type === "number";
    const compare = (a, b) => (numeric ? key(a) - key(b) : key(b).localeCompare(key(a), undefined, { numeric: true }));
    body.append(...[...body.rows].sort((a, b) => direction * compare(a, b)));
  });
}
