import { defineConfig } from 'vitest/config';

if (Number(process.versions.node.split('.')[0]) < 24) {
  throw new Error(
    `the tests start the program, which needs Node 24; this is ${process.version}. ` +
      `'npm test -- <file>' and 'npx vitest run <file>' use the Node of node_modules`,
  );
}

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    // Two cores are the bar; the services of the run want some of them too.
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000,
    teardownTimeout: 20_000,
    globalSetup: ['test/support/global-setup.ts'],
  },
});
