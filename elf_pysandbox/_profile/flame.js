"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const NS = "http://www.w3.org/2000/svg";
  const HEIGHT = 20;
  const holder = document.getElementById("flame");
  const detail = document.getElementById("detail");

  const depthOf = (node) => 1 + Math.max(0, ...node.children.map(depthOf));
  const share = (seconds) => `${((100 * seconds) / (data.tree.seconds || 1)).toFixed(1)} %`;
  const describe = (node) =>
    `${node.name} — ${share(node.seconds)}, ${(1000 * node.seconds).toFixed(2)} ms` +
    (node.file ? ` — ${node.file}:${node.line}` : "");

  // A name keeps its colour from page to page.
  const colour = (name) => {
    let hash = 0;
    for (const char of name) hash = (hash * 31 + char.codePointAt(0)) >>> 0;
    return `hsl(${20 + (hash % 40)} ${70 + (hash % 25)}% ${62 + (hash % 12)}%)`;
  };

  const element = (name, attributes) => {
    const made = document.createElementNS(NS, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };

  const draw = (focus) => {
    const width = Math.max(holder.clientWidth, 300);
    const height = HEIGHT * (depthOf(focus) + (focus === data.tree ? 0 : 1));
    const svg = element("svg", { viewBox: `0 0 ${width} ${height}`, height });
    const scale = width / (focus.seconds || 1);
    const bar = (node, left, level, target) => {
      const wide = Math.max(node.seconds * scale, 0);
      if (wide < 0.3) return;
      const group = element("g", { "data-name": node.name, tabindex: 0 });
      const box = { x: left, y: level * HEIGHT, height: HEIGHT - 1, fill: colour(node.name) };
      group.append(element("rect", { ...box, width: target ? width : wide }));
      const title = element("title", {});
      title.textContent = describe(node);
      group.append(title);
      const room = Math.floor((target ? width : wide) / 7) - 1;
      if (room > 2) {
        const text = element("text", { x: left + 4, y: level * HEIGHT + 14 });
        text.textContent = node.name.length > room ? `${node.name.slice(0, room - 1)}…` : node.name;
        group.append(text);
      }
      group.addEventListener("mouseenter", () => { detail.textContent = describe(node); });
      group.addEventListener("click", () => draw(target || node));
      svg.append(group);
    };
    const walk = (node, left, level) => {
      bar(node, left, level);
      let at = left;
      for (const child of node.children) {
        walk(child, at, level + 1);
        at += child.seconds * scale;
      }
    };
    if (focus !== data.tree) bar(data.tree, 0, 0, data.tree);
    walk(focus, 0, focus === data.tree ? 0 : 1);
    holder.replaceChildren(svg);
  };

  const rows = document.querySelector("#lines tbody");
  for (const line of data.lines) {
    const row = rows.insertRow();
    const cell = row.insertCell();
    cell.className = "share";
    cell.textContent = `${(100 * line.share).toFixed(1)} %`;
    const meter = document.createElement("meter");
    meter.value = line.share;
    row.insertCell().append(meter);
    row.insertCell().textContent = `${line.file.split("/").pop()}:${line.line}`;
    row.insertCell().textContent = line.source;
  }

  draw(data.tree);
  window.addEventListener("resize", () => draw(data.tree));
  document.body.dataset.drawn = "yes";
})();
