// Regions that scroll are reached by keyboard: tables and code that are wider than the page. The theme puts a region
// around each table after this script has run.
const mark = () => {
  for (const each of document.querySelectorAll(".md-typeset__scrollwrap, .md-typeset pre > code")) {
    if (each.scrollWidth > each.clientWidth) each.tabIndex = 0;
    else each.removeAttribute("tabindex");
  }
};
new ResizeObserver(mark).observe(document.body);
new MutationObserver(mark).observe(document.querySelector(".md-content"), { childList: true, subtree: true });

// The theme's dialog has no name of its own.
document.querySelector(".md-search")?.setAttribute("aria-label", "Search");
