/* The form for brokers with a password. What is typed goes to the connection and is cleared. It comes where a broker asks,
 * or somebody wants it (app.js). */
"use strict";

class Login {
  constructor(connection) {
    this._connection = connection;
    this._dialog = Dom.byId("login");
    this._name = Dom.byId("login-name");
    this._password = Dom.byId("login-password");
    this._button = Dom.byId("sign-in");
    this._button.addEventListener("click", () => (this._in() ? this._signOut() : this.show("")));
    Dom.byId("login-cancel").addEventListener("click", () => this._dialog.close());
    Dom.byId("login-form").addEventListener("submit", (event) => this._submit(event));
  }

  show(problem) {
    const { protocol, hostname, host } = new URL(this._connection.url);
    const local = ["localhost", "127.0.0.1", "[::1]"].includes(hostname);
    Dom.setText(Dom.byId("login-broker"), `${protocol}//${host}`);
    Dom.setHidden(Dom.byId("login-clear"), protocol === "wss:" || local);
    const line = Dom.byId("login-problem");
    Dom.setText(line, problem);
    Dom.setHidden(line, problem === "");
    if (!this._dialog.open) this._dialog.showModal();
    (this._name.value ? this._password : this._name).focus();
  }

  /* Follows the link: asks when it is refused, goes away when it stands. */
  follow({ state, detail }) {
    if (state === "refused") this.show(detail);
    if (state === "up" && this._dialog.open) this._dialog.close();
    Dom.setText(this._button, this._in() ? "Sign out" : "Sign in");
  }

  /* Whether the broker has taken a name and password: what was only tried is nothing to sign out from. */
  _in() {
    return this._connection.signedIn && this._connection.link.state !== "refused";
  }

  _submit(event) {
    event.preventDefault();
    const credentials = { username: this._name.value, password: this._password.value };
    this._password.value = "";
    this._connection.open(credentials);
  }

  _signOut() {
    this._name.value = "";
    this._connection.open();
  }
}

const login = new Login(broker.connection);
Page.onLink((link) => login.follow(link));
if (broker.connection.link.state !== "refused") login.show(""); // somebody wants to
