// The client of the AWS SDK: made from options, and asked so that an answer's `Date` is heard too.
import { S3Client, type S3ClientConfig } from "@aws-sdk/client-s3";
import { OmniQError } from "@omniq/core";
import { plainCause, readHttpDate, type StoreFailure, type StoreNames } from "@omniq/file";
import type { CheckedOptions } from "./options.ts";

/** Makes a client. What the options do not say comes from the SDK's own chain, when the first request needs it. */
export function makeClient(options: CheckedOptions): S3Client {
  const { region, endpoint, accessKeyId, secretAccessKey, sessionToken, profile, forcePathStyle } = options;
  const regionUsed = region ?? (endpoint === undefined ? undefined : "us-east-1");
  const config: S3ClientConfig = {
    // A conditional write that the SDK sent twice would be told of its own first try: the store says `unknown` and the log decides.
    maxAttempts: 1,
    // Each commit carries a checksum of its own, and other services than AWS stumble over the SDK's.
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
    // Asking before each body would double the round trips.
    expectContinueHeader: false,
    followRegionRedirects: endpoint === undefined,
    ...(regionUsed !== undefined && { region: regionUsed }),
    ...(endpoint !== undefined && { endpoint }),
    ...(profile !== undefined && { profile }),
    forcePathStyle: forcePathStyle ?? endpoint !== undefined,
    requestHandler: { connectionTimeout: 5_000 },
  };
  if (accessKeyId !== undefined && secretAccessKey !== undefined)
    config.credentials = { accessKeyId, secretAccessKey, ...(sessionToken !== undefined && { sessionToken }) };
  return new S3Client(config);
}

/** The part of a command that hears its raw answer. */
interface Listening {
  readonly middlewareStack: {
    add(
      middleware: (next: (given: never) => Promise<{ readonly response: unknown }>) => (given: never) => Promise<never>,
      options: { readonly step: "deserialize"; readonly priority: "low"; readonly name: string },
    ): void;
  };
}

/** Lets the command tell the `Date` of its answer, in epoch milliseconds, also where the answer is an error. */
export function hearDate(command: unknown): () => number | undefined {
  let date: number | undefined;
  (command as Listening).middlewareStack.add(
    (next) => async (given) => {
      const result = await next(given);
      const { headers } = result.response as { readonly headers?: Readonly<Record<string, string>> };
      date = readHttpDate(headers?.["date"]);
      return result as never;
    },
    { step: "deserialize", priority: "low", name: "omniqHearDate" },
  );
  return () => date;
}

/** What the SDK's error says of the request. Errors of the configuration are thrown as such. */
export function failureOf(error: unknown, options: CheckedOptions): StoreFailure {
  const { name, message, $fault, $metadata } = error as {
    readonly name?: string;
    readonly message?: string;
    readonly $fault?: string;
    readonly $metadata?: { readonly httpStatusCode?: number };
  };
  if (name === "CredentialsProviderError" || name === "TokenProviderError") {
    throw new OmniQError(
      "OMNIQ_CONFIG_INVALID",
      `No credentials for S3 bucket "${options.bucket}" were found: give accessKeyId and secretAccessKey, or set up ` +
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or a role",
      { cause: plainCause(error, secretsOf(options)) },
    );
  }
  if (message === "Region is missing") {
    throw new OmniQError(
      "OMNIQ_CONFIG_INVALID",
      "The options of the S3 store can't be used: region is missing; give it, or set AWS_REGION",
      { cause: plainCause(error) },
    );
  }
  // Only what the SDK has read to its end is an answer: where the body of an error was cut, its status alone could mislead.
  const status = $fault === undefined ? undefined : $metadata?.httpStatusCode;
  // Refused for its clock, which the SDK has set right from the answer by now, or for a body that came too slowly: another try will do.
  const again = name === "RequestTimeTooSkewed" || name === "RequestTimeout";
  return { status: again ? 503 : status, code: status === undefined ? undefined : name, cause: error };
}

const secretsOf = ({ secretAccessKey, sessionToken }: CheckedOptions): StoreNames["secrets"] => [
  secretAccessKey,
  sessionToken,
];

/** The words of messages about this bucket. */
export function namesOf(options: CheckedOptions): StoreNames {
  const { bucket } = options;
  return {
    store: "S3",
    container: `bucket "${bucket}"`,
    missing: { codes: ["NoSuchBucket"], advice: `make it with \`aws s3 mb s3://${bucket}\`, or correct the name` },
    secrets: secretsOf(options),
    permissions: "s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket",
  };
}
