// Regions that scroll are reached by keyboard: tables and code that are wider than the page.
const scrolled = ".md-typeset__scrollwrap, .md-typeset pre > code";
new ResizeObserver(() => {
  for (const each of document.querySelectorAll(scrolled)) {
    if (each.scrollWidth > each.clientWidth) each.tabIndex = 0;
    else each.removeAttribute("tabindex");
  }
}).observe(document.body);

// The theme's dialog has no name of its own.
document.querySelector(".md-search")?.setAttribute("aria-label", "Search");
