// Search runs in a worker, and browsers start no worker from a page that is opened as a file: an iframe takes its place there.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      const inside = frame.contentWindow;
      const load = address => new Promise((loaded, failed) => {
        const script = inside.document.createElement("script");
        script.onload = loaded;
        script.onerror = failed;
        script.src = address;
        inside.document.body.append(script);
      });
      inside.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }));
      inside.importScripts = (...addresses) =>
        addresses.reduce((before, address) => before.then(() => load(address)), Promise.resolve());
      this.post = data => inside.dispatchEvent(new MessageEvent("message", { data }));
      this.ready = load(url);
    }
    postMessage(data) {
      this.ready = this.ready.then(() => this.post(data));
    }
    terminate() {}
  };
}
