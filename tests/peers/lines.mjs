// How the programs here speak with a test: JSON, a value a line, both ways. A program ends with its
// input, and so with the test.
import { createInterface } from 'node:readline'

export const tell = (value) => process.stdout.write(JSON.stringify(value) + '\n')

export function listen(command) {
  const lines = createInterface({ input: process.stdin })
  lines.on('line', (line) => command(JSON.parse(line)))
  lines.on('close', () => process.exit(0))
}
