
// ---- The page: its browsers of questions, keys, and addresses of questions ----

const browsers = [...document.querySelectorAll(".browser")].map((home, number) => new Questions(home, number)).filter((one) => one.all.length);
Questions.last = browsers[0];

document.addEventListener("keydown", (event) => {
  const typing = event.target instanceof Element && event.target.closest("input, select, textarea");
  const one = Questions.last;
  if (!one || event.ctrlKey || event.metaKey || event.altKey) return;
  if (typing) { if (event.key === "Escape") one.list.list.focus(); return; }
  if (event.key === "/") { event.preventDefault(); one.search.focus(); }
  if (event.key === "j") one.move(1);
  if (event.key === "k") one.move(-1);
  const player = one.detail.querySelector("audio");
  if (event.key === "p" && player) { if (player.paused) player.play(); else player.pause(); }
});

// An address that ends with #q=ID opens that question; with several boards #b=1&q=ID says on which.
function follow() {
  const asked = new URLSearchParams(location.hash.slice(1));
  if (!asked.has("q")) return;
  const number = Number(asked.get("b") || 0), first = browsers.find((one) => one.number === number);
  const one = [first, ...browsers].filter(Boolean).find((other) => other.find(asked.get("q")));
  if (one) { Questions.last = one; one.detail.closest(".browser").scrollIntoView(); }
}

addEventListener("hashchange", follow);
follow();
performance.mark("ready");
