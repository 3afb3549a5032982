import "./page.css";
import { connect, MODULE } from "./pull.js";

const SHOWN = 100;
/** Seconds a message is kept, so that a page that was away for a moment still gets it. */
const EXPIRY = 60;

const element = (id) => document.getElementById(id);
const now = () => performance.timeOrigin + performance.now();
const milliseconds = (value) => (value === null ? "–" : `${value.toFixed(value < 10 ? 1 : 0)} ms`);

const channels = await (await fetch("demo/config.json")).json();
const name = channels.public.slice(0, 6);
const latencies = [];
let received = 0;
let connection;

function show({ command, params, mid }) {
  const latency = typeof params.sent === "number" ? now() - params.sent : null;
  received += 1;
  if (latency !== null) {
    latencies.push(latency);
    if (latencies.length > 1000) latencies.shift();
    const sorted = latencies.toSorted((a, b) => a - b);
    element("last").textContent = milliseconds(latency);
    element("median").textContent = milliseconds(sorted[sorted.length >> 1]);
  }
  element("count").textContent = received;
  element("mid").textContent = mid;
  element("empty").hidden = true;

  const part = (className, text) => {
    const span = document.createElement("span");
    span.className = className;
    span.textContent = text;
    return span;
  };
  const from = params.from === name ? "this page" : params.from ? `page ${params.from}` : "backend";
  const about = part("about", "");
  about.append(
    part("id", mid),
    part("from", `from ${from} to ${params.to === "all" ? "all pages" : "this page"}`),
    part("when", new Date().toLocaleTimeString()),
  );
  const item = document.createElement("li");
  item.append(
    part("body", command === "message" ? params.text : JSON.stringify(params)),
    part("latency", milliseconds(latency)),
    about,
  );
  const list = element("messages");
  list.prepend(item);
  while (list.children.length > SHOWN) list.lastChild.remove();
}

function showState() {
  const { state, transport } = connection;
  element("state").dataset.state = state;
  element("state").textContent = state === "connect" ? "connecting" : state;
  element("transport").textContent = transport;
}

function reconnect() {
  connection?.close();
  connection = connect(channels, {
    polling: element("polling").checked,
    onMessage: show,
    onChange: () => showState(),
  });
  showState();
}

async function publish(event) {
  event.preventDefault();
  const form = new FormData(element("publish"));
  const to = form.get("to");
  const body = {
    module_id: MODULE,
    command: "message",
    params: { text: form.get("text"), from: name, to, sent: now() },
  };
  let problem = "";
  try {
    const answer = await fetch(channels.publish[to], {
      method: "POST",
      headers: { "Message-Expiry": String(EXPIRY) },
      body: JSON.stringify(body),
    });
    if (!answer.ok) problem = `Not published: the server answered ${answer.status}. Try again.`;
  } catch (error) {
    problem = `Not published: ${error.message}.`;
  }
  element("problem").textContent = problem;
  element("problem").hidden = problem === "";
}

element("curl").textContent =
  `curl -H 'Message-Expiry: ${EXPIRY}' -d '{"hello":"terminal"}' \\\n` +
  `  'http://${channels.internal}/bitrix/pub/?CHANNEL_ID=${channels.private.slice(0, 32)}'`;
element("publish").addEventListener("submit", publish);
element("polling").addEventListener("change", reconnect);
reconnect();
