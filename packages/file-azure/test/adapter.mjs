// The File backend on Azure from options that survive JSON: for the kit and for its processes, which have no TypeScript.
import { file } from "@omniq/file";
import { azure } from "@omniq/file-azure";

export const adapter = ({ store, ...options }) => file({ ...options, store: azure(store) });
