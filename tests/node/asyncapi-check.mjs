// Checks an AsyncAPI document with the parser of the AsyncAPI project; prints what is wrong as JSON lines, exit 1.
import { Parser, fromFile } from '@asyncapi/parser';

const { document, diagnostics } = await fromFile(new Parser(), process.argv[2]).parse();
const wrong = diagnostics.filter((one) => one.severity === 0);
for (const one of wrong) console.log(JSON.stringify({ path: one.path, message: one.message }));
if (document) {
  console.log(JSON.stringify({
    version: document.version(),
    channels: document.channels().all().map((one) => one.address()).sort(),
    messages: document.components().messages().all().map((one) => one.id()).sort(),
  }));
}
process.exit(wrong.length || !document ? 1 : 0);
