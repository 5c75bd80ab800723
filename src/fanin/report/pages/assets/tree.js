// The parameters of a report as a tree of their names, and which of its rows are to be seen. Nothing here is drawn.
"use strict";

const tree = (() => {
  /**
   * The tree of rows, of which each stands for one parameter or for those of repeated blocks.
   *
   * @param {[string, number[]][]} rows the path of each row, and the numbers of its parameters.
   * @param {(number) => string} name the name of a parameter.
   */
  function build(rows, name) {
    const root = branch("", "", null);
    rows.forEach(([path, numbers], place) => {
      const parts = path.split(/(?<=[./])/);
      let parent = root;
      for (const part of parts.slice(0, -1)) {
        let next = parent.byPart.get(part);
        if (!next) {
          next = branch(parent.path + part, label(part), parent);
          parent.byPart.set(part, next);
          parent.children.push(next);
        }
        parent = next;
      }
      parent.children.push(leaf(place, path, label(parts.at(-1)), numbers, parent, name));
    });
    explain(root);
    root.children = root.children.map(joined);
    gather(root);
    return root;
  }

  const label = (part) => (part.length > 1 ? part.replace(/[./]$/, "") : part);

  const branch = (path, shown, parent) => ({
    id: `b${path}`, path, label: shown, parent, children: [], byPart: new Map(), numbers: [], note: "", isBranch: true,
  });

  /** A row, whose children are its parameters if they are several. */
  function leaf(place, path, shown, numbers, parent, name) {
    const made = { id: `r${place}`, place, path, label: shown, parent, children: [], numbers, isBranch: false };
    if (numbers.length > 1)
      made.children = numbers.map((number) => ({
        id: `n${number}`, path: name(number), label: name(number), parent: made, children: [], numbers: [number], isBranch: false,
      }));
    else if (numbers.length) made.id = `n${numbers[0]}`;
    return made;
  }

  /** A branch, together with what is in it as one, if that is only one thing. */
  function joined(node) {
    while (node.isBranch && node.children.length === 1) {
      const [only] = node.children;
      const joint = node.path.endsWith(node.label) ? "" : node.path.at(-1); // a part that is empty is its separator
      if (only.isBranch) only.note ||= node.note;
      only.label = `${node.label}${joint}${only.label}`;
      only.parent = node.parent;
      node = only;
    }
    if (node.isBranch) node.children = node.children.map(joined);
    return node;
  }

  /** Says of branches of the same blocks, such as [0-3] and 2, what they have: what is alike, and what is not. */
  function explain(node) {
    const branches = node.children.filter((child) => child.isBranch);
    const blocks = branches.map((child) => blocksOf(child.label));
    const ranges = blocks.filter((each) => each?.isRange);
    branches.forEach((child, place) => {
      explain(child);
      const own = blocks[place];
      if (!own || !ranges.length) return;
      const others = own.isRange ? blocks : ranges; // of two that are no ranges, none has the blocks of the other
      if (others.some((other) => other && other !== own && overlap(own, other))) child.note = own.isRange ? "what is alike" : "what differs";
    });
  }

  /** The blocks that a label such as h_[0-3,7] or h_2 stands for; null for none. */
  function blocksOf(label) {
    const found = label.match(/^(.*?)(?:\[([\d,-]+)\]|(\d+))$/s);
    if (!found) return null;
    const [, stem, ranges, number] = found;
    const runs = (ranges ?? number).split(",").map((run) => run.split("-").map(Number));
    return { stem, isRange: ranges !== undefined, runs: runs.map((ends) => [ends[0], ends.at(-1)]) };
  }

  const overlap = (one, other) =>
    one.stem === other.stem && one.runs.some(([low, high]) => other.runs.some(([first, last]) => low <= last && first <= high));

  /** Gives each branch the numbers of all parameters in it, and each node its level. */
  function gather(node, level = 0) {
    node.level = level;
    for (const child of node.children) {
      gather(child, level + 1);
      if (node.isBranch) for (const number of child.numbers) node.numbers.push(number);
    }
  }

  /**
   * The rows to be seen, from the top: those of the tree in its order, or of a list in one of its own.
   *
   * @param {object[]} nodes the nodes at the top.
   * @param {(object) => boolean} isOpen whether the children of a node are to be seen.
   * @param {Set<number>|null} kept the numbers of the parameters to be seen; null for all.
   * @param {boolean} isList whether the nodes are rows of a list, which are called by their whole path.
   */
  function visible(nodes, isOpen, kept, isList = false) {
    const rows = [];
    const walk = (siblings, level) => {
      const seen = kept ? siblings.filter((each) => each.numbers.some((number) => kept.has(number))) : siblings;
      seen.forEach((node, place) => {
        const numbers = kept ? node.numbers.filter((number) => kept.has(number)) : node.numbers;
        const isExpandable = node.children.length > 0;
        const open = isExpandable && isOpen(node);
        const shown = isList && level === 1 ? node.path : node.label;
        rows.push({ node, id: node.id, numbers, level, label: shown, isExpandable, isOpen: open, place: place + 1, of: seen.length });
        if (open) walk(node.children, level + 1);
      });
    };
    walk(nodes, 1);
    return rows;
  }

  /** Every row of a tree, without branches, in the order in which they were given. */
  function leaves(root) {
    const under = (node) => (node.isBranch ? node.children.flatMap(under) : [node]);
    return under(root).sort((a, b) => a.place - b.place);
  }

  /** The rows in the order of a key; those without one come last, and equal ones stay in their order. */
  function sorted(nodes, key, isDescending) {
    const keyed = nodes.map((node, place) => ({ node, place, key: key(node.numbers) }));
    const sign = isDescending ? -1 : 1;
    keyed.sort((a, b) => {
      if (a.key === null || b.key === null) return (a.key === null) - (b.key === null) || a.place - b.place;
      return (a.key < b.key ? -sign : a.key > b.key ? sign : 0) || a.place - b.place;
    });
    return keyed.map((each) => each.node);
  }

  return { build, visible, leaves, sorted };
})();
