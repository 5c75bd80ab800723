// A table of any number of rows, of which only those in sight are elements of the page: an ARIA treegrid. The focus stays
// on the whole, which names its active row, so that rows may come and go while one scrolls.
"use strict";

const treegrid = (() => {
  const { html } = dom;
  const SPARE = 8; // rows beyond both ends of what is in sight
  const INDENT = 1.1; // em for each level

  /**
   * An empty table in an element.
   *
   * @param {HTMLElement} place where it goes.
   * @param {object} options
   *   columns: {key, label, kind, cell(row), canSort}; the first one has the names.
   *   label: what the whole is called.
   *   sort(key), toggle(row), select(row), open(row), close(): what a user asks for.
   */
  function make(place, options) {
    const { columns } = options;
    let [rows, active, order, shown] = [[], -1, null, new Map()];

    const heads = columns.map((column) => head(column, options.sort));
    const spacer = html("div", { class: "spacer", role: "rowgroup" });
    const top = html("div", { class: "heads", role: "rowgroup" }, html("div", { class: "row", role: "row", "aria-rowindex": 1 }, ...heads));
    const grid = html(
      "div",
      { class: "treegrid", role: "treegrid", tabindex: 0, "aria-label": options.label, keydown: pressed, scroll: soon, click: clicked, dblclick: opened },
      top,
      spacer,
    );
    place.replaceChildren(grid);
    let isWaiting = false;

    /** Draws when the browser next does. */
    function soon() {
      if (isWaiting) return;
      isWaiting = true;
      requestAnimationFrame(() => {
        isWaiting = false;
        draw();
      });
    }

    const height = () => parseFloat(getComputedStyle(grid).getPropertyValue("--row"));

    /** Puts the rows in sight and the active one into the page, and takes the others out. */
    function draw() {
      const row = height();
      const first = Math.max(0, Math.floor(grid.scrollTop / row) - SPARE);
      const last = Math.min(rows.length, Math.ceil((grid.scrollTop + grid.clientHeight) / row) + SPARE);
      for (const [place, element] of shown)
        if ((place < first || place >= last) && place !== active) {
          element.remove();
          shown.delete(place);
        }
      for (let place = first; place < last; place++) add(place, row);
      if (active >= 0) add(active, row);
    }

    /** Puts a row into the page, unless it is there. */
    function add(place, height) {
      if (shown.has(place)) return;
      const element = line(place, height);
      shown.set(place, element);
      spacer.append(element);
    }

    /** The element of a row. */
    function line(place, height) {
      const row = rows[place];
      const isActive = place === active;
      const element = html(
        "div",
        {
          class: `row${row.node.isBranch ? " branch" : ""}${isActive ? " active" : ""}`,
          role: "row",
          id: `row-${place}`,
          "aria-rowindex": place + 2,
          "aria-level": row.level,
          "aria-setsize": row.of,
          "aria-posinset": row.place,
          "aria-expanded": row.isExpandable ? String(row.isOpen) : null,
          "aria-selected": String(isActive),
        },
        ...columns.map((column, number) =>
          html("div", { class: `cell ${column.kind}`, role: number ? "gridcell" : "rowheader" }, number ? null : caret(row), column.cell(row)),
        ),
      );
      element.style.transform = `translateY(${place * height}px)`;
      element.firstChild.style.paddingInlineStart = `${(row.level - 1) * INDENT + 0.4}em`;
      return element;
    }

    const caret = (row) => html("span", { class: row.isExpandable ? `caret${row.isOpen ? " open" : ""}` : "caret none", "aria-hidden": "true" });

    /** Shows rows, in place of those that were there. */
    function show(next) {
      const id = rows[active]?.id;
      rows = next;
      active = rows.findIndex((row) => row.id === id);
      grid.setAttribute("aria-rowcount", rows.length + 1);
      for (const element of shown.values()) element.remove();
      shown.clear();
      spacer.style.height = `calc(var(--row) * ${rows.length})`;
      name();
      draw();
    }

    /** Says which row is the active one. */
    function name() {
      if (active >= 0) grid.setAttribute("aria-activedescendant", `row-${active}`);
      else grid.removeAttribute("aria-activedescendant");
    }

    /** Brings the active row into sight. */
    function keep() {
      const [row, head] = [height(), top.offsetHeight];
      const at = active * row;
      const room = grid.clientHeight - head - row;
      if (grid.scrollTop > at) grid.scrollTop = at;
      else if (grid.scrollTop < at - room) grid.scrollTop = at - room;
      draw();
    }

    /** Makes a row the active one, and brings it into sight. */
    function activate(place, isQuiet = false) {
      if (!rows.length) return;
      active = Math.min(Math.max(place, 0), rows.length - 1);
      keep();
      for (const [each, element] of shown) {
        element.classList.toggle("active", each === active);
        element.setAttribute("aria-selected", String(each === active));
      }
      name();
      if (!isQuiet) options.select(rows[active]);
    }

    /** Makes the row of an id the active one, if it is there. */
    function find(id) {
      const place = rows.findIndex((row) => row.id === id);
      if (place >= 0) activate(place);
      return place >= 0;
    }

    function pressed(event) {
      if (event.target !== grid || event.altKey || event.ctrlKey || event.metaKey) return;
      const row = rows[active];
      const page = Math.max(1, Math.floor((grid.clientHeight - top.offsetHeight) / height()) - 1);
      const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -rows.length, End: rows.length };
      if (event.key in steps) activate(active < 0 ? 0 : active + steps[event.key]);
      else if (event.key === "ArrowRight" && row?.isExpandable) row.isOpen ? activate(active + 1) : options.toggle(row);
      else if (event.key === "ArrowLeft" && row) row.isOpen ? options.toggle(row) : up(row);
      else if ((event.key === "Enter" || event.key === " ") && row) options.open(row);
      else if (event.key === "Escape") options.close();
      else return;
      event.preventDefault();
    }

    /** Goes from a row to the one that it is in. */
    function up(row) {
      for (let place = active - 1; place >= 0; place--) if (rows[place].level < row.level) return activate(place);
    }

    function clicked(event) {
      const element = event.target.closest("[role=row]");
      if (!element || element.parentNode !== spacer) return;
      const place = Number(element.id.slice(4));
      const row = rows[place];
      activate(place, true);
      if (row.isExpandable && (row.node.isBranch || event.target.closest(".caret"))) options.toggle(row);
      else options.open(row, true);
    }

    function opened(event) {
      const element = event.target.closest(".row");
      const row = element && element.parentNode === spacer && rows[Number(element.id.slice(4))];
      if (row && row.isExpandable && !row.node.isBranch && !event.target.closest(".caret")) options.toggle(row);
    }

    /** Marks the column by which rows are sorted. */
    function mark(next) {
      order = next;
      heads.forEach((element, number) => {
        if (!columns[number].canSort) return;
        const isOrder = order?.key === columns[number].key;
        element.setAttribute("aria-sort", isOrder ? (order.isDescending ? "descending" : "ascending") : "none");
      });
    }

    new ResizeObserver(() => {
      for (const [place, element] of shown) element.style.transform = `translateY(${place * height()}px)`;
      soon();
    }).observe(grid);
    return { element: grid, show, find, mark, keep, row: () => rows[active] ?? null };
  }

  /** The head of a column, which sorts by it if it can. */
  function head(column, sort) {
    const label = column.canSort
      ? html("button", { type: "button", click: () => sort(column.key), title: `Sort by ${column.sortedBy ?? column.label}` }, column.label)
      : column.label;
    return html("div", { class: `cell ${column.kind}`, role: "columnheader", "aria-sort": column.canSort ? "none" : null }, label);
  }

  return { make };
})();
