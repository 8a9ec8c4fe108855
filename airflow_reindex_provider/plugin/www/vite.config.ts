import { defineConfig } from "vitest/config";

// Airflow's page hands these to the apps of plugins as globals: the bundle takes them, so that it shares Airflow's theme and
// router, and stays small.
const hostGlobals = {
  react: "React",
  "react/jsx-runtime": "ReactJSXRuntime",
  "react-router-dom": "ReactRouterDOM",
  "@chakra-ui/react": "ChakraUI",
};

export default defineConfig({
  build: {
    target: "es2022",
    lib: { entry: "src/main.tsx", formats: ["iife"], name: "ReindexPage", fileName: () => "main.js" },
    rolldownOptions: { external: Object.keys(hostGlobals), output: { globals: hostGlobals } },
  },
  test: {
    environment: "happy-dom",
    include: ["test/**/*.test.{ts,tsx}"],
    setupFiles: ["test/setup.ts"],
    testTimeout: 30_000,
  },
});
