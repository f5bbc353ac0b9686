// The File backend on S3 from options that survive JSON: for the kit and for its processes, which have no TypeScript.
import { file } from "@omniq/file";
import { s3 } from "@omniq/file-s3";

export const adapter = ({ store, ...options }) => file({ ...options, store: s3(store) });
