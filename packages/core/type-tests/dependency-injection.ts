// Type test: a program that a user would write must compile (dependency-injection).
import { OmniQ, type AnyTaskImplementation, type Worker } from "@omniq/core";
import { memory } from "@omniq/memory";
import { resizeImage, sendEmail } from "./tasks.ts";

interface Mailer {
  send(to: string, subject: string): Promise<string>;
}
class OrderService {
  readonly omniq: OmniQ;
  constructor(omniq: OmniQ) {
    this.omniq = omniq;
  }
  async confirm(to: string): Promise<string> {
    return (await this.omniq.enqueue(sendEmail, { to, subject: "Confirmed" })).id;
  }
}
class EmailTasks {
  readonly mailer: Mailer;
  constructor(mailer: Mailer) {
    this.mailer = mailer;
  }
  readonly tasks: readonly AnyTaskImplementation[] = [
    sendEmail.implement(async ({ to, subject }) => ({ messageId: await this.mailer.send(to, subject) })),
    resizeImage.implement(({ url }) => ({ key: url })),
  ];
}
class QueueModule {
  readonly omniq: OmniQ = new OmniQ({ taskQueue: memory() });
  #worker: Worker | undefined;
  async onApplicationBootstrap(providers: readonly EmailTasks[]): Promise<void> {
    this.#worker = this.omniq.worker({ tasks: providers.flatMap((provider) => provider.tasks) });
    await this.#worker.start();
  }
  async onApplicationShutdown(): Promise<void> {
    await this.#worker?.stop();
    await this.omniq.close();
  }
}
export { OrderService, QueueModule };
