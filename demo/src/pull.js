// The portal's client, given this server instead of a portal.

import { B24PullClientManager as PullClient } from "@bitrix24/b24jssdk";

/** Module id of the messages that pages of this demo send each other. */
export const MODULE = "demo";

const DAY = 86_400_000;

/** What a portal answers to `pull.config.get`, for the wire of version 4 (protobuf). */
function pullConfig(channels, polling) {
  const start = new Date().toISOString();
  const end = new Date(Date.now() + DAY).toISOString();
  const at = (scheme, path) => `${scheme}://${location.host}${path}`;
  return {
    server: {
      version: 4,
      server_enabled: true,
      mode: "personal",
      hostname: "",
      config_timestamp: 0,
      websocket_enabled: !polling,
      websocket: at("ws", "/bitrix/subws/"),
      websocket_secure: at("wss", "/bitrix/subws/"),
      long_polling: at("http", "/bitrix/sub/"),
      long_pooling_secure: at("https", "/bitrix/sub/"),
      publish_enabled: false,
    },
    api: { revision_web: 19, revision_mobile: 3 },
    channels: {
      private: {
        id: channels.private,
        public_id: `${channels.public}.${channels.public_signature}`,
        start,
        end,
        type: "private",
      },
      shared: { id: channels.shared, start, end, type: "shared" },
    },
    publicChannels: {},
    serverTime: start,
  };
}

/** Stands in for the portal's REST interface: the one method that matters here. */
function portal(channels, polling) {
  const make = async ({ method }) => {
    const result = method === "pull.config.get" ? pullConfig(channels, polling) : {};
    return { getData: () => ({ result }) };
  };
  return { actions: { v2: { call: { make } } }, callMethod: async () => ({ data: () => ({}) }) };
}

/** The client, with the message id kept beside each message and plain JSON let through. */
class DemoClient extends PullClient {
  extractMessages(frame) {
    return super.extractMessages(frame).map(({ mid, text }) => {
      // What somebody publishes by hand need not look like a portal's message.
      const message = text?.module_id ? text : { module_id: MODULE, command: "plain", params: text };
      const { extra, ...plain } = message.params ?? {};
      if (message.command === "plain") message.params = plain;
      message.extra = { ...(message.extra ?? extra), mid };
      return { mid, text: message };
    });
  }
}

/**
 * Connects to the server. `onMessage({command, params, mid})` is called for each message,
 * `onChange()` whenever the connection may have changed.
 */
export function connect(channels, { polling, onMessage, onChange }) {
  const client = new DemoClient({
    b24: portal(channels, polling),
    userId: 1,
    siteId: "demo",
    // Pages of one browser have channels of their own: nothing to share through its storage.
    skipStorageInit: true,
  });
  client.subscribe({
    moduleId: MODULE,
    callback: ({ command, params, extra }) => onMessage({ command, params, mid: extra.mid }),
  });
  client.subscribe({ type: "status", callback: onChange });
  client.start().catch(onChange);
  const timer = setInterval(onChange, 250);

  return {
    get state() {
      return client.isConnected() ? "online" : client.status === "connect" ? "connect" : "offline";
    },
    get transport() {
      if (!client.isConnected()) return "–";
      return client.getDebugInfo()["WebSocket connected"] === "Y"
        ? `WebSocket, ${client.getDebugInfo()["WebSocket mode"]}`
        : "long polling, protobuf";
    },
    close() {
      clearInterval(timer);
      client.destroy();
    },
  };
}
