// The page of a report: its findings, its charts, and the table of its parameters with filters, search, order and detail.
"use strict";

(() => {
  const { html, data } = dom;
  const FIRST = 30; // findings that are shown at once
  const MOST_OPEN = 60; // rows up to which a tree begins open
  const FEW_OPEN = 10; // the same where there are findings, which are to be in sight
  const LONG_NAME = /^(.+?[./])(.{1,22})$|^(.+)(.{12})$/su; // what can be shortened, and what stays
  const [document_, view] = [data(), data("view")];
  const kind = kinds[document_.kind](document_, view);
  const { items } = kind;
  const faulty = new Set(items.filter((item) => ["warn", "bad"].includes(kind.tone(item))).map((item) => item.number));
  const at = (selector) => document.querySelector(selector);
  const rowOf = new Map(view.rows.flatMap(([, numbers], place) => numbers.map((number) => [number, place])));

  // ---------------------------------------------------------------- findings

  /** The findings, of which the first ones are shown, and the others when they are asked for. */
  function showFindings() {
    const list = at(".findings");
    at("#findings").hidden = !view.findings.length;
    const add = (from, to) => list.append(...view.findings.slice(from, to).map(finding));
    add(0, FIRST);
    const rest = view.findings.length - FIRST;
    if (rest <= 0) return;
    const more = html("button", { type: "button", class: "more", click: all }, `Show ${rest.toLocaleString("en-US")} more`);
    function all() {
      add(FIRST);
      more.remove();
    }
    list.after(more);
    addEventListener("beforeprint", () => more.isConnected && all());
  }

  /** A finding: where, what is wrong, and what to do. */
  function finding(each) {
    const path = html("bdi", { class: "path" }, kinds.visible(each.path));
    const where = each.tensors.length ? html("a", { href: `#parameter-${each.tensors[0]}` }, path) : path;
    const count = each.tensors.length > 1 ? html("span", { class: "count" }, ` ${each.tensors.length} ${kind.noun}s`) : null;
    const shown = each.tensors.find((number) => String(number) in view.charts);
    return html(
      "li",
      { class: `finding ${view.tones[each.kind]}` },
      html("div", { class: "what" }, kinds.badge(each.kind, view.tones[each.kind]), html("code", { class: "code" }, each.code)),
      html("h3", {}, where, count),
      html("p", {}, kinds.visible(each.message)),
      each.advice ? html("p", { class: "advice" }, html("b", {}, "What to do: "), kinds.visible(each.advice)) : null,
      shown === undefined ? null : html("div", { class: "charts paper-only", "data-charts": shown }),
    );
  }

  // ---------------------------------------------------------------- charts

  function showOverview() {
    at("#charts").hidden = !view.overview.length;
    drawAll(at("#charts .charts"), view.overview, 260);
  }

  /** Draws charts into an element, each in a figure; on paper, whose width no script knows, in a given width. */
  function drawAll(place, list, height, width = 0) {
    const figures = list.map(() => html("figure"));
    place.replaceChildren(...figures);
    list.forEach((chart, number) => {
      charts.draw(figures[number], chart, height, width);
      figures[number].firstChild.after(html("p", { class: "note" }, chart.description));
    });
  }

  // ---------------------------------------------------------------- the table

  const root = tree.build(view.rows, (number) => items[number].name);
  const rows = tree.leaves(root);
  const singles = items.map((item) => ({ id: `n${item.number}`, path: item.name, label: item.name, children: [], numbers: [item.number], isBranch: false }));
  const state = { search: "", filters: {}, isTree: true, isFolded: true, isFaulty: false, order: null, wasTree: true };
  const open = new Set();
  const table = treegrid.make(at(".grid"), {
    label: `${kind.noun}s`,
    columns: [
      { key: "name", label: kind.noun, kind: "name", canSort: true, sortedBy: "name", cell: nameCell },
      ...kind.columns.map((column) => ({ ...column, cell: (row) => column.cell(row.numbers.map((number) => items[number]), row) })),
    ],
    sort: sortBy,
    toggle,
    select: (row) => isShown() && showDetail(row),
    open: (row, byMouse) => (row.node.isBranch ? toggle(row) : showDetail(row, !byMouse)),
    close: closeDetail,
  });

  function nameCell(row) {
    const count = row.numbers.length > 1 ? html("span", { class: "count" }, `${row.numbers.length.toLocaleString("en-US")}`) : null;
    const note = row.node.note ? html("span", { class: "about" }, row.node.note) : null;
    return html("span", { class: "named", title: row.node.path }, html("bdi", {}, ...parted(row.label)), count, note);
  }

  /** A name in two parts, of which the first one gives way where room is short: the end tells names apart. */
  function parted(name) {
    const found = name.match(LONG_NAME);
    if (!found) return breakable(name);
    const [start, end] = found.slice(1).filter((part) => part !== undefined);
    const first = html("span", { class: "start" }, ...breakable(start));
    first.style.setProperty("--end", `${end.length}ch`);
    return [first, html("span", {}, ...breakable(end))];
  }

  /** A text that may be broken after its dots and slashes, where it has several lines. */
  const breakable = (name) => name.split(/(?<=[./])/).flatMap((part) => [part, html("wbr")]);

  /** The numbers of the parameters that the filters and the search leave; null for all. */
  function kept() {
    const wanted = Object.entries(state.filters).filter(([, value]) => value !== "");
    const search = state.search.toLowerCase();
    if (!wanted.length && !search && !state.isFaulty) return null;
    const isKept = (item) =>
      (!state.isFaulty || faulty.has(item.number)) &&
      wanted.every(([key, value]) => item[key] === value) &&
      (!search || item.name.toLowerCase().includes(search) || item.what.toLowerCase().includes(search));
    return new Set(items.filter(isKept).map((item) => item.number));
  }

  /** Shows what the state says. */
  function update() {
    const left = kept();
    const isOpen = (node) => (left && node.isBranch ? !open.has(`-${node.id}`) : open.has(node.id));
    const seen = tree.visible(nodes(), isOpen, left, !state.isTree);
    table.show(seen);
    table.mark(state.order);
    const count = left ? left.size : items.length;
    const all = items.length.toLocaleString("en-US");
    at(".status").textContent = left
      ? `${count.toLocaleString("en-US")} of ${all} ${kind.noun}s${count ? "" : ": none fits"}`
      : `${all} ${kind.noun}s in ${rows.length.toLocaleString("en-US")} rows`;
    at(".grid").classList.toggle("empty", !seen.length);
    only.setAttribute("aria-pressed", String(state.isFaulty));
    for (const button of document.querySelectorAll("[data-verdict]"))
      button.setAttribute("aria-pressed", String(state.filters.verdict === button.dataset.verdict));
  }

  /** The rows at the top: of the tree, or of the list in its order. */
  function nodes() {
    if (state.isTree) return root.children;
    const listed = state.isFolded ? rows : singles;
    if (!state.order) return listed;
    const { key, isDescending } = state.order;
    const column = kind.columns.find((each) => each.key === key);
    const value = column ? (numbers) => column.sort(numbers.map((number) => items[number])) : null;
    return value ? tree.sorted(listed, value, isDescending) : byName(listed, isDescending);
  }

  /** The rows by their names, in which numbers count as numbers. */
  function byName(listed, isDescending) {
    const compare = new Intl.Collator("en", { numeric: true }).compare;
    return [...listed].sort((a, b) => (isDescending ? -1 : 1) * compare(a.path, b.path));
  }

  function toggle(row) {
    // A filter opens all branches, so that then those are noted that are closed.
    const id = kept() && row.node.isBranch ? `-${row.node.id}` : row.node.id;
    open.has(id) ? open.delete(id) : open.add(id);
    update();
  }

  /** Sorts by a column: upwards, downwards, then no more, with the form that was there before. */
  function sortBy(key) {
    const { order } = state;
    if (!order) state.wasTree = state.isTree;
    const isLast = order?.key === key && order.isDescending;
    setTree(isLast && state.wasTree);
    state.order = isLast ? null : { key, isDescending: order?.key === key };
    update();
  }

  function setTree(isTree) {
    state.isTree = isTree;
    if (isTree) state.order = null;
    at(`[name=form][value=${isTree ? "tree" : "list"}]`).checked = true;
  }

  // ---------------------------------------------------------------- controls

  const search = html("input", { type: "search", name: "search", placeholder: "Name, initializer or problem", autocomplete: "off", spellcheck: "false", input: searched });
  const only = html("button", { type: "button", name: "only", click: () => ((state.isFaulty = !state.isFaulty), update()) }, `Only findings (${faulty.size.toLocaleString("en-US")})`);
  const selects = Object.entries(kind.filters).map(([key, label]) => filter(key, label));

  function searched() {
    state.search = search.value;
    update();
  }

  /** A choice of the values that a key has. */
  function filter(key, label) {
    const counts = new Map();
    for (const item of items) counts.set(item[key], (counts.get(item[key]) ?? 0) + 1);
    const options = [...counts].filter(([value]) => value !== "").sort(([a], [b]) => (a < b ? -1 : 1));
    const choose = html(
      "select",
      { name: key, change: () => choice(key, choose.value) },
      html("option", { value: "" }, "all"),
      ...options.map(([value, count]) => html("option", { value }, `${value} (${count.toLocaleString("en-US")})`)),
    );
    return html("label", {}, label, choose);
  }

  function choice(key, value) {
    state.filters[key] = value;
    at(`select[name=${key}]`).value = value;
    update();
  }

  const way = (value, label, isChecked) =>
    html("label", { class: "way" }, html("input", { type: "radio", name: "form", value, checked: isChecked, change: () => (setTree(value === "tree"), update()) }), label);

  function showControls() {
    const fold = html("input", { type: "checkbox", name: "fold", checked: true, change: () => ((state.isFolded = fold.checked), setTree(false), update()) });
    at(".tools").replaceChildren(
      html("label", { class: "search" }, "Search", search),
      ...selects,
      html("fieldset", {}, html("legend", { class: "unseen" }, "Form"), way("tree", "Tree", true), way("list", "List", false)),
      html("label", { class: "way" }, fold, "fold repeated blocks"),
    );
    at(".bar").append(
      ...(faulty.size ? [only] : []),
      html("button", { type: "button", name: "clear", click: clear }, "Clear filters"),
      html("button", { type: "button", name: "expand", click: () => spread(true) }, "Expand all"),
      html("button", { type: "button", name: "collapse", click: () => spread(false) }, "Collapse all"),
    );
    at(".tools").addEventListener("submit", (event) => event.preventDefault());
    for (const button of document.querySelectorAll("[data-verdict]"))
      button.addEventListener("click", () => {
        choice("verdict", state.filters.verdict === button.dataset.verdict ? "" : button.dataset.verdict);
        at("#parameters").scrollIntoView();
      });
  }

  /** Opens all branches, or closes them. */
  function spread(isOpen) {
    open.clear();
    const walk = (node) => {
      if (!node.isBranch) return;
      open.add(isOpen ? node.id : `-${node.id}`);
      node.children.forEach(walk);
    };
    walk(root);
    setTree(true);
    update();
  }

  /** Takes back filters, search and order. */
  function clear() {
    search.value = state.search = "";
    for (const key of Object.keys(kind.filters)) {
      state.filters[key] = "";
      at(`select[name=${key}]`).value = "";
    }
    state.isFaulty = false;
    state.order = null;
    update();
  }

  /** Opens what a reader wants to see first: the branches with findings; without any, everything if it is little. */
  function begin() {
    const most = faulty.size ? FEW_OPEN : MOST_OPEN;
    const walk = (node) => {
      if (!node.isBranch) return;
      if (rows.length <= most || node === root || node.numbers.some((number) => faulty.has(number))) open.add(node.id);
      node.children.forEach(walk);
    };
    walk(root);
  }

  // ---------------------------------------------------------------- the selected parameter

  const detail = at(".detail");
  const isShown = () => !detail.hidden;

  /** Shows what is known of a row: of its only parameter, or of the first one that has charts. */
  function showDetail(row, takesFocus = false) {
    if (row.node.isBranch) return;
    const number = row.numbers.find((each) => String(each) in view.charts) ?? row.numbers[0];
    const item = items[number];
    const heading = html("h3", { tabindex: -1 }, html("bdi", {}, row.numbers.length > 1 ? row.node.path : item.name));
    const several = row.numbers.length > 1 ? html("p", { class: "several" }, `${row.numbers.length} ${kind.noun}s that are alike. Below is one of them: `, html("bdi", { class: "path" }, item.name)) : null;
    const place = html("div", { class: "charts" });
    detail.replaceChildren(
      html("button", { type: "button", class: "close", "aria-label": "Close", click: closeDetail }, "✕"),
      heading,
      html("p", { class: "verdict" }, kinds.badge(item.verdict, kind.tone(item)), ...kind.codes(item).map((code) => html("code", { class: "code" }, code))),
      ...[several, ...kind.about(item), place].filter((each) => each !== null),
    );
    if (detail.hidden) {
      detail.hidden = false;
      at(".split").classList.add("open");
      table.keep();
      if (getComputedStyle(detail).position === "fixed") at(".grid").scrollIntoView();
    }
    showCharts(place, number);
    detail.scrollTop = 0;
    if (takesFocus) heading.focus();
  }

  /** Shows the charts of a parameter, or those of one that is alike, or says that they are left out. */
  function showCharts(place, number) {
    const alike = view.rows[rowOf.get(number)][1].find((each) => String(each) in view.charts);
    const shown = String(number) in view.charts ? number : alike;
    if (shown === undefined) {
      if (view.left_out) place.replaceChildren(html("p", { class: "note" }, view.left_out.replace("{name}", () => JSON.stringify(items[number].name))));
      return;
    }
    const found = view.charts[shown];
    drawAll(place, found.charts, 220);
    if (shown !== number) place.prepend(html("p", { class: "note" }, "The charts are those of ", html("bdi", { class: "path" }, items[shown].name), ", which is alike."));
    const why = Object.entries(found.missing);
    if (why.length) place.append(html("ul", { class: "missing" }, ...why.map(([name, reason]) => html("li", {}, html("b", {}, name), `: ${reason}`))));
  }

  function closeDetail() {
    if (!isShown()) return;
    detail.hidden = true;
    at(".split").classList.remove("open");
    table.element.focus();
  }

  /** Shows the parameter that the address names, such as #parameter-17. */
  function followAddress() {
    const number = Number(location.hash.match(/^#parameter-(\d+)$/)?.[1] ?? NaN);
    if (!(number in items)) return;
    if (kept() && !kept().has(number)) clear();
    if (!state.isTree && state.isFolded === false) setTree(true);
    const row = rows.find((each) => each.numbers.includes(number));
    const ids = [`n${number}`, row.id];
    open.add(row.id);
    for (let node = row; node; node = node.parent) {
      if (node.isBranch) open.add(node.id);
      open.delete(`-${node.id}`);
    }
    update();
    ids.some((id) => table.find(id));
    at("#parameters").scrollIntoView();
    showDetail(table.row());
    table.element.focus({ preventScroll: true });
  }

  // ---------------------------------------------------------------- paper

  /** On paper: every row of the table, the charts of findings, and the appendix open. */
  function toPaper() {
    const heads = [{ kind: "name", label: kind.noun }, ...kind.columns].map((column) => html("th", { scope: "col", class: column.kind }, column.label));
    const body = rows.map((node) => {
      const row = { node, numbers: node.numbers };
      const some = node.numbers.map((number) => items[number]);
      const count = some.length > 1 ? ` (${some.length})` : "";
      return html("tr", {}, html("th", { scope: "row" }, `${node.path}${count}`), ...kind.columns.map((column) => html("td", { class: column.kind }, column.cell(some, row))));
    });
    at(".paper").replaceChildren(html("table", {}, html("thead", {}, html("tr", {}, ...heads)), html("tbody", {}, ...body)));
    for (const place of document.querySelectorAll("[data-charts]")) drawAll(place, view.charts[place.dataset.charts].charts, 200, 340);
    drawAll(at("#charts .charts"), view.overview, 230, 700);
    for (const each of document.querySelectorAll("details")) each.open = true;
  }

  function fromPaper() {
    at(".paper").replaceChildren();
    for (const place of document.querySelectorAll("[data-charts]")) place.replaceChildren();
    showOverview();
  }

  at(".scriptless").remove();
  showFindings();
  showOverview();
  showControls();
  begin();
  update();
  followAddress();
  addEventListener("hashchange", followAddress);
  addEventListener("beforeprint", toPaper);
  addEventListener("afterprint", fromPaper);
  matchMedia("print").addEventListener("change", (event) => (event.matches ? toPaper() : fromPaper()));
  detail.addEventListener("keydown", (event) => event.key === "Escape" && closeDetail());
})();
