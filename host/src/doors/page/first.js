// Before anything is painted: the colours and the language of last time, or the system's. The one classic
// script, since modules run after the first paint. choices.js changes what this reads.
(() => {
  const root = document.documentElement;
  const isDark = matchMedia("(prefers-color-scheme: dark)");
  const kept = (name) => {
    try {
      return localStorage.getItem(name);
    } catch {
      return null;
    }
  };
  const dress = () => {
    root.dataset.look = kept("parlor.look") ?? (isDark.matches ? "dark" : "light");
  };
  const language = kept("parlor.language") ?? navigator.language;
  root.lang = language.toLowerCase().startsWith("zh") ? "zh-CN" : "en";
  isDark.addEventListener("change", dress);
  dress();
})();
