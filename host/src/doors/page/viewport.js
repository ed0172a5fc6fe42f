// Keeps the page as high as what is seen of it: on phones whose keyboard lies over the page rather than
// resizing it, the field would be hidden below.

export function fitToKeyboard() {
  const seen = window.visualViewport;
  if (!seen) return;
  const fit = () => {
    // A pinched page is smaller in sight as well, and must not be laid out anew for that.
    if (Math.abs(seen.scale - 1) > 0.01) return;
    document.documentElement.style.setProperty("--seen-height", `${seen.height}px`);
    window.scrollTo(0, 0);
  };
  seen.addEventListener("resize", fit);
  fit();
}
