// Tables are sorted by a click on a heading, and say where they go on beyond the edge. The page is whole without this.
for (const table of document.querySelectorAll(".scroll table")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const value = (row, i) => {
    const cell = row.cells[i];
    return "v" in cell.dataset ? Number(cell.dataset.v) : cell.classList.contains("n") ? NaN : cell.textContent.trim();
  };
  const sort = (head, i) => {
    const numbers = head.classList.contains("n");
    const now = head.getAttribute("aria-sort");
    const up = now === "none" ? !numbers : now === "descending";
    heads.forEach((other) => other.setAttribute("aria-sort", "none"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const compare = (a, b) => {
      const [x, y] = [value(a, i), value(b, i)];
      // What is not measured stays last either way.
      if (numbers) return Number.isNaN(x) - Number.isNaN(y) || (up ? x - y : y - x) || 0;
      return up ? x.localeCompare(y) : y.localeCompare(x);
    };
    body.append(...[...body.rows].sort(compare));
  };
  if (body.rows.length > 2) {
    heads.forEach((head, i) => {
      head.tabIndex = 0;
      head.setAttribute("aria-sort", "none");
      head.title = "Sort by this column";
      head.addEventListener("click", () => sort(head, i));
      head.addEventListener("keydown", (event) => event.key === "Enter" && sort(head, i));
    });
  }
  const box = table.parentElement;
  const look = () => box.classList.toggle("more", box.scrollWidth - box.clientWidth - box.scrollLeft > 8);
  new ResizeObserver(look).observe(box);
  box.addEventListener("scroll", look, { passive: true });
}
