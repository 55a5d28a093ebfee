// What the theme leaves out for people who use a keyboard or a screen reader.
const makeScrollable = () => {
  for (const each of document.querySelectorAll(".md-typeset__scrollwrap, .md-typeset pre > code")) {
    // What scrolls sideways can be reached with the keyboard.
    if (each.scrollWidth > each.clientWidth) each.tabIndex = 0
    else each.removeAttribute("tabindex")
  }
}

document.addEventListener("DOMContentLoaded", () => {
  document.querySelector("[data-md-component=search]")?.setAttribute("aria-label", "Search")
  // Parts of a table of contents and the buttons of a block of code are no landmarks.
  for (const part of document.querySelectorAll(".md-nav--secondary nav.md-nav, .md-code__nav")) {
    part.removeAttribute("aria-label")
    part.removeAttribute("aria-labelledby")
    part.setAttribute("role", "none")
  }
  // The theme wraps tables after this event.
  setTimeout(makeScrollable)
  addEventListener("load", makeScrollable)
  addEventListener("resize", makeScrollable)
})
