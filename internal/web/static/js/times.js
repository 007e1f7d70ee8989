// Times: the server says "3 hours ago" when it draws the page; this keeps it true, in the same words (see relative in
// render.go), and shows the exact moment on hover in the reader's own zone.

const minute = 60_000, hour = 60 * minute, day = 24 * hour;
const units = [[minute, 59.5 * minute, "minute"], [hour, 36 * hour, "hour"], [day, 60 * day, "day"], [30 * day, 730 * day, "month"], [365 * day, Infinity, "year"]];

export function relative(then, now) {
  const distance = Math.abs(now - then), ahead = then > now;
  if (distance < 45_000) return ahead ? "in a moment" : "just now";
  const [size, , name] = units.find(([, limit]) => distance < limit);
  const count = Math.max(1, Math.floor((distance + size / 2) / size));
  const text = count === 1 ? `1 ${name}` : `${count} ${name}s`;
  return ahead ? `in ${text}` : `${text} ago`;
}

// The server's clock, not the reader's, which may be off: the difference is taken once, as the page arrives.
const offset = new Date(document.documentElement.dataset.now) - Date.now();

export function keepTimes(root = document) {
  const local = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const draw = () => {
    for (const tag of root.querySelectorAll("time[datetime]")) {
      const then = new Date(tag.dateTime);
      if (isNaN(then)) continue;
      tag.title = `${local.format(then)} (${zone})`;
      if ("relative" in tag.dataset) {
        const text = relative(then.getTime(), Date.now() + offset);
        if (tag.textContent !== text) tag.textContent = text;
      }
    }
  };
  draw();
  if (root === document) setInterval(draw, 30_000);
}
