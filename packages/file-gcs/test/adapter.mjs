// The File backend on Google Cloud Storage from options that survive JSON: for the kit and for its processes, which have no TypeScript.
import { file } from "@omniq/file";
import { gcs } from "@omniq/file-gcs";

export const adapter = ({ store, ...options }) => file({ ...options, store: gcs(store) });
