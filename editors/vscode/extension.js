// Starts `rollc lsp`, and shows the picture that it draws.
const vscode = require("vscode");
const { LanguageClient } = require("vscode-languageclient/node");

let client;

async function start() {
  const command = vscode.workspace.getConfiguration("rollc").get("command");
  client = new LanguageClient(
    "rollc",
    "rollc",
    { command, args: ["lsp"] },
    { documentSelector: [{ language: "roll" }] },
  );
  try {
    await client.start();
  } catch (error) {
    vscode.window.showErrorMessage(
      `cannot start \`${command} lsp\` (${error.message}): pip install 'rollc[lsp]', ` +
        "or set rollc.command to the path of rollc",
    );
  }
}

async function picture() {
  const editor = vscode.window.activeTextEditor;
  if (!editor || !client) {
    return;
  }
  try {
    const svg = await client.sendRequest("workspace/executeCommand", {
      command: "rollc.draw",
      arguments: [editor.document.uri.toString()],
    });
    const name = editor.document.uri.path.split("/").pop();
    const beside = vscode.ViewColumn.Beside;
    // No scripts: it is a picture.
    const panel = vscode.window.createWebviewPanel("rollc.picture", name, beside, {});
    panel.webview.html = `<!DOCTYPE html><body style="background: white">${svg}</body>`;
  } catch (error) {
    vscode.window.showErrorMessage(error.message);
  }
}

exports.activate = async (context) => {
  context.subscriptions.push(
    vscode.commands.registerCommand("rollc.picture", picture),
    vscode.commands.registerCommand("rollc.restart", async () => {
      await client?.stop().catch(() => {});
      await start();
    }),
  );
  await start();
};

exports.deactivate = () => client?.stop();
