// The second half of the conformance kit.
import { testPart } from "./kit.ts";

await testPart(1, 2);
