// The shared worker: all tabs of a browser follow the server over one stream.

import { SharedStream, openSource } from "./stream.js";

const stream = new SharedStream(openSource(new URL("..", self.location.href)));

self.addEventListener("connect", ({ ports: [port] }) => {
  let end = () => {};
  port.onmessage = ({ data }) => {
    if (data.follow !== undefined) {
      end();
      end = stream.follow(data.follow, (message) => port.postMessage(message));
      // The lock is free when the tab is gone, however that ended.
      if (data.lock) navigator.locks?.request(data.lock, () => end());
    } else if (data.hurry) {
      stream.hurry();
    } else {
      end();
      end = () => {};
    }
  };
});
