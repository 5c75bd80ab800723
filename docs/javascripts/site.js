// Regions that scroll can be reached by keyboard: tables and code that are wider than the page.
for (const each of document.querySelectorAll(".md-typeset__scrollwrap, .md-typeset pre > code")) {
  if (each.scrollWidth > each.clientWidth) each.tabIndex = 0;
}
