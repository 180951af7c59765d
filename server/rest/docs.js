"use strict";
(async () => {
  const list = document.getElementById("list"), find = document.getElementById("find");
  const make = (tag, text, parent) => { const e = document.createElement(tag); e.textContent = text; parent.append(e); return e; };
  let api;
  try {
    const res = await fetch("/openapi.json");
    if (!res.ok) throw new Error(String(res.status));
    api = await res.json();
  } catch (e) {
    list.textContent = "The document can't be loaded: " + e.message;
    return;
  }
  document.getElementById("about").textContent = api.info.description;
  const follow = (x) => x && x.$ref ? x.$ref.slice(2).split("/").reduce((o, k) => o[k], api) : x;
  const rows = [];
  list.textContent = "";
  for (const path of Object.keys(api.paths).sort()) {
    for (const method of ["get", "post", "patch", "delete"]) {
      const op = api.paths[path][method];
      if (!op) continue;
      const box = make("details", "", list), head = make("summary", "", box);
      make("b", method.toUpperCase(), head);
      make("code", path, head);
      head.append(" " + (op.summary || ""));
      rows.push([box, (method + " " + path + " " + (op.summary || "")).toLowerCase()]);
      box.addEventListener("toggle", () => {
        if (box.dataset.full) return;
        box.dataset.full = "1";
        if (op.description) make("p", op.description, box);
        for (const p of (op.parameters || []).map(follow)) {
          const line = make("p", "", box);
          make("code", p.name, line);
          line.append(" (" + p.in + ") " + (p.description || ""));
        }
        const show = (title, holder) => {
          const content = follow(holder) && follow(holder).content;
          for (const media in content || {}) {
            make("p", title + ", " + media, box);
            make("pre", JSON.stringify(follow(content[media].schema), null, 2), box);
          }
        };
        show("Body", op.requestBody);
        for (const status in op.responses) show("Answer " + status, op.responses[status]);
      });
    }
  }
  find.addEventListener("input", () => {
    const words = find.value.toLowerCase().split(/\s+/);
    for (const [box, text] of rows) box.hidden = !words.every((w) => text.includes(w));
  });
})();
