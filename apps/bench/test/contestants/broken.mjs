// A queue in memory with a fault named by OMNIQ_BROKEN, to prove that the bench catches it: `forgets` loses the 50th task, `repeats` does it
// twice, `invents` does one that nobody added.
const fault = process.env.OMNIQ_BROKEN;

export const contestant = {
  name: "broken",
  ours: false,
  packages: ["fastq"],
  settings: "none",
  durability: "none",
  results: "none",
  shared: false,
  async open() {
    const tasks = [];
    let wake = () => {};
    const add = async (payload) => {
      if (payload !== 50 || fault !== "forgets") tasks.push(payload);
      if (payload === 50 && fault === "repeats") tasks.push(payload);
      if (payload === 50 && fault === "invents") tasks.unshift(1_000_000);
      wake();
    };
    return {
      add,
      addMany: async (payloads) => void payloads.forEach(add),
      async work(_concurrency, handle) {
        let on = true;
        const loop = async () => {
          while (on) {
            const payload = tasks.shift();
            if (payload === undefined) await new Promise((resolve) => (wake = resolve));
            else await handle(payload);
          }
        };
        const over = loop();
        return {
          async stop() {
            on = false;
            wake();
            await over;
          },
        };
      },
      waiting: async () => tasks.length,
      close: async () => {},
    };
  },
};
