// The first half of the conformance kit.
import { testPart } from "./kit.ts";

await testPart(0, 2);
