// Browsers start no worker from a file, and search runs in one. In a page that was opened from a folder, this class takes
// the place of Worker: it runs the script in a hidden frame, and passes messages on.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(address) {
      super();
      this.waiting = [];
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      this.frame.title = "Search";
      this.frame.addEventListener("load", () => this.start(new URL(address, location)), { once: true });
      const inserted = () => document.body.append(this.frame);
      if (document.body) inserted();
      else document.addEventListener("DOMContentLoaded", inserted);
    }

    start(address) {
      const inside = this.frame.contentWindow;
      // In a worker, the first argument is all there is; in a window, the second says where to.
      inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      inside.importScripts = (...scripts) => scripts.reduce((done, each) => done.then(() => this.load(each)), Promise.resolve());
      this.load(address).then(() => {
        this.waiting.splice(0).forEach((data) => this.tell(data));
        this.started = true;
      });
    }

    load(address) {
      const { document } = this.frame.contentWindow;
      return new Promise((resolve, reject) => {
        const script = document.createElement("script");
        script.src = address;
        script.onload = resolve;
        script.onerror = reject;
        document.body.append(script);
      });
    }

    tell(data) {
      this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data }));
    }

    postMessage(data) {
      if (this.started) this.tell(data);
      else this.waiting.push(data);
    }

    set onmessage(listener) {
      this.addEventListener("message", listener);
    }

    terminate() {
      this.frame.remove();
    }
  };
}
