/** What Airflow imports. It looks the component up by the name of the app, and by this one where an app has no name of its own. */

import { App } from "./App";

Object.assign(globalThis, { Reindex: App, AirflowPlugin: App });
