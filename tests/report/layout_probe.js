// Runs in a test page around the report's frame; writes what it finds as JSON for the test to read.
const TOLERANCE = 1.5;

/** The part of a box that its scrolling or clipping ancestors let through; null when nothing is left. */
function visiblePart(box, node, view) {
  let { left, top, right, bottom } = box;
  for (let parent = node; parent && parent.nodeType === 1; parent = parent.parentElement) {
    const style = view.getComputedStyle(parent);
    if (style.display === "none" || style.visibility === "hidden") return null;
    if (style.overflowX !== "visible" && parent.tagName !== "svg" && parent.tagName !== "HTML") {
      const clip = parent.getBoundingClientRect();
      left = Math.max(left, clip.left);
      right = Math.min(right, clip.right);
      top = Math.max(top, clip.top);
      bottom = Math.min(bottom, clip.bottom);
    }
  }
  return right - left > 0.5 && bottom - top > 0.5 ? { left, top, right, bottom } : null;
}

function textBoxes(document, view) {
  const boxes = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    const parent = node.parentElement;
    if (!node.data.trim() || ["SCRIPT", "STYLE", "title"].includes(parent.tagName)) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const rect of range.getClientRects()) {
      const box = visiblePart(rect, parent, view);
      if (box) boxes.push({ ...box, text: node.data.trim().slice(0, 40), node, parent });
    }
  }
  return boxes;
}

function overlaps(boxes) {
  const found = [];
  const sorted = [...boxes].sort((a, b) => a.top - b.top);
  for (let i = 0; i < sorted.length; i++) {
    for (let j = i + 1; j < sorted.length && sorted[j].top < sorted[i].bottom - TOLERANCE; j++) {
      const [a, b] = [sorted[i], sorted[j]];
      // A line cut by an ellipsis answers with two boxes of its own.
      if (a.node === b.node) continue;
      const width = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const height = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (width > TOLERANCE && height > TOLERANCE) found.push(`"${a.text}" and "${b.text}" at y=${Math.round(b.top)}`);
    }
  }
  return found;
}

/** Text that leaves the card it stands in. */
function escapes(boxes) {
  return boxes
    .filter((box) => {
      const card = (box.parent.closest("section") || box.parent.closest("main")).getBoundingClientRect();
      return box.left < card.left || box.right > card.right || box.top < card.top || box.bottom > card.bottom;
    })
    .map((box) => box.text);
}

function channels(color) {
  const [r, g, b, alpha = 1] = color.match(/[\d.]+/g).map(Number);
  return { rgb: [r, g, b], alpha };
}

function luminance(rgb) {
  const linear = rgb.map((value) => (value / 255 <= 0.03928 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
}

/** The least WCAG contrast ratio of any text against the nearest opaque background behind it. */
function leastContrast(boxes, view) {
  let least = { ratio: 21, text: "" };
  for (const { parent, text } of boxes) {
    const style = view.getComputedStyle(parent);
    const ink = channels(parent.namespaceURI.endsWith("svg") ? style.fill : style.color).rgb;
    let behind = parent;
    while (channels(view.getComputedStyle(behind).backgroundColor).alpha < 1) behind = behind.parentElement;
    const [light, dark] = [luminance(ink), luminance(channels(view.getComputedStyle(behind).backgroundColor).rgb)].sort((a, b) => b - a);
    const ratio = (light + 0.05) / (dark + 0.05);
    if (ratio < least.ratio) least = { ratio, text };
  }
  return least;
}

function sortLayers(document, column) {
  const heading = document.querySelectorAll("table.layers thead th")[column];
  if (!heading) return null;
  heading.querySelector("button").click();
  return {
    direction: heading.getAttribute("aria-sort"),
    values: [...document.querySelectorAll("table.layers tbody tr")].map((row) => row.cells[column].dataset.sort),
  };
}

window.addEventListener("load", () => {
  const frame = document.querySelector("iframe");
  const inner = frame.contentDocument;
  const view = frame.contentWindow;
  const root = inner.documentElement;
  const boxes = textBoxes(inner, view);
  const findings = {
    width: view.innerWidth,
    height: root.scrollHeight,
    scrollWidth: root.scrollWidth,
    boxes: boxes.length,
    overlaps: overlaps(boxes),
    escapes: escapes(boxes),
    contrast: leastContrast(boxes, view),
    images: [...view.document.images].map((image) => image.complete && image.naturalWidth > 0),
    requests: view.performance.getEntriesByType("resource").map((entry) => entry.name),
    alerted: Boolean(view.alerted),
    byChannels: sortLayers(inner, 2),
    byChannelsAgain: sortLayers(inner, 2),
    byName: sortLayers(inner, 0),
  };
  const output = document.createElement("pre");
  output.id = "findings";
  output.hidden = true;
  output.textContent = JSON.stringify(findings);
  document.body.append(output);
});
