"use strict";
const show = (id, text) => { document.getElementById(id).textContent = text; };

async function ask(path) {
  const answer = await fetch(path, { headers: { Accept: "application/json" }, cache: "no-store" });
  return { ok: answer.ok, body: await answer.json() };
}

function ago(time) {
  const seconds = Math.max(0, (Date.now() - Date.parse(time)) / 1000);
  const units = [["day", 86400], ["hour", 3600], ["minute", 60]];
  for (const [name, length] of units) {
    const count = Math.floor(seconds / length);
    if (count >= 1) return `${count} ${name}${count > 1 ? "s" : ""} ago`;
  }
  return "just now";
}

async function health(name, path) {
  const state = document.getElementById(name);
  let status = "unavailable", detail = "does not answer";
  try {
    const { ok, body } = await ask(path);
    status = ok ? body.status : body.state || "unavailable";
    const failed = Object.entries(body.checks || {}).filter(([, check]) => check.status !== "ok");
    detail = failed.length ? failed.map(([part]) => `${part} failed`).join(", ") : body.version ? `version ${body.version}` : detail;
    if (name === "sync") lastSync(ok ? body.last_success_at : undefined);
  } catch { if (name === "sync") lastSync(undefined); }
  state.className = `state ${status}`;
  show(name, status);
  show(`${name}-detail`, detail);
}

function lastSync(time) {
  show("synced", time ? ago(time) : time === null ? "not yet" : "unknown");
  show("synced-at", time ? new Date(time).toLocaleString() : "\u00a0");
}

async function products() {
  try {
    const { ok, body } = await ask("/products?limit=1");
    show("total", ok ? body.total.toLocaleString() : "unknown");
    show("latest", ok ? "public, no token needed" : body.title);
  } catch { show("total", "unknown"); }
}

function refresh() {
  products();
  health("catalog", "/health");
  health("auth", "/auth/health");
  health("sync", "/sync/health");
}

const curl = document.getElementById("curl");
curl.textContent = curl.textContent.replaceAll("http://localhost:8000", location.origin);
refresh();
setInterval(() => { if (!document.hidden) refresh(); }, 10000);
