/** What the gateway says: its JSON documents, as /openapi.json and the schemas of events describe them. */
export {};
