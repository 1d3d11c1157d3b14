/** /docs: the gateway's routes, to read and to try, by Swagger UI. The key is the chat page's. */
import { storedKey } from "./keys.js";
SwaggerUIBundle({
    url: "/openapi.json",
    dom_id: "#docs",
    deepLinking: true,
    displayRequestDuration: true,
    validatorUrl: "none", // else the document is sent to a server of others
    requestInterceptor: (request) => {
        const key = storedKey();
        if (key && !request.headers["Authorization"])
            request.headers["Authorization"] = `Bearer ${key}`;
        return request;
    },
});
