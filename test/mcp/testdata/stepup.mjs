// A client made with one of the official TypeScript SDKs: it signs its person in to read, then calls a tool that writes.
// Arguments: 1 or 2 for the SDK's generation, and the address of the server. Prints what happened as JSON.
import { spawn } from "node:child_process";
import { createServer } from "node:http";

const [generation, endpoint] = process.argv.slice(2);
const { Client, StreamableHTTPClientTransport, UnauthorizedError } = generation === "1"
	? Object.assign({}, await import("@modelcontextprotocol/sdk/client/index.js"), await import("@modelcontextprotocol/sdk/client/streamableHttp.js"), await import("@modelcontextprotocol/sdk/client/auth.js"))
	: await import("@modelcontextprotocol/client");

let came; // resolves with what the browser brings
const listener = createServer((request, response) => {
	came(new URL(request.url, "http://localhost").searchParams);
	response.end("You can close this window.");
});
await new Promise((ready) => listener.listen(0, "127.0.0.1", ready));
const back = `http://127.0.0.1:${listener.address().port}/callback`;

let client, tokens, verifier, brought;
const asked = []; // the scopes for which the person was asked
const provider = {
	redirectUrl: back,
	clientMetadata: { client_name: `TypeScript SDK ${generation}`, redirect_uris: [back], grant_types: ["authorization_code"], token_endpoint_auth_method: "none" },
	clientInformation: () => client,
	saveClientInformation: (c) => { client = c; },
	tokens: () => tokens,
	saveTokens: (t) => { tokens = t; },
	codeVerifier: () => verifier,
	saveCodeVerifier: (v) => { verifier = v; },
	redirectToAuthorization: (url) => {
		asked.push(url.searchParams.get("scope"));
		brought = new Promise((resolve) => { came = resolve; });
		spawn(process.env.BROWSER, [url.href], { stdio: "ignore" });
	},
};

// signedIn does something with a connection, and once more after the person has signed in for it.
async function signedIn(act) {
	for (let again = 0; ; again++) {
		const transport = new StreamableHTTPClientTransport(new URL(endpoint), { authProvider: provider });
		const connection = new Client({ name: "typescript-client", version: generation });
		try {
			await connection.connect(transport);
			return await act(connection);
		} catch (error) {
			if (!(error instanceof UnauthorizedError) || again > 0) throw error;
			const query = await brought;
			await transport.finishAuth(query.get("code"), query.get("iss") ?? undefined);
		} finally {
			await connection.close();
		}
	}
}

const read = await signedIn((c) => c.callTool({ name: "list_projects", arguments: {} }));
const wrote = await signedIn((c) => c.callTool({ name: "create_tasks", arguments: { project: "WEB", tasks: [{ title: "by TypeScript" }] } }));
console.log(JSON.stringify({ asked, read: read.structuredContent, wrote: wrote.structuredContent, scope: tokens.scope }));
listener.close();
process.exit(0);
