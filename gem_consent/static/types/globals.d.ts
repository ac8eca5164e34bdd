// What the scripts of a page share: with one another, with the site's own, and with the documents that hold them.

/** The purposes that are granted, and in how many seconds that ends. */
interface Granted extends Array<string> {
  secondsLeft?: number;
}

/** The script of every document, with what it is told of the site and of the page. */
type NoticeScript = HTMLScriptElement & {
  nonce: string;
  dataset: { path: string; fingerprint: string; shown: string; press: string };
};

type ChoiceEvent = SubmitEvent & { target: HTMLFormElement; submitter: HTMLButtonElement | null };

/** Where a choice that was taken is spoken of. */
type StatusLine = HTMLElement & { dataset: { saved: string } };

type Embed = HTMLIFrameElement & { dataset: { src: string } };

/** What of a page waits for a purpose: a script or an embed. */
type Waiting = HTMLElement & { dataset: { consent: string }; src: string; type: string; text: string };

/** The server's answer to a choice: under which policy it was taken, and whether the page must be loaded anew. */
interface ChoiceAnswer {
  fingerprint: string;
  reload: boolean;
}

/** What notice.js hands over to press.js. */
interface Shared {
  path: string;
  granted(): Granted | null;
  /** Reads the choice anew, under the policy of this fingerprint's beginning; gives what was granted before, and now. */
  renew(print: string): [before: string[], now: string[]];
  /** Fetches the script that starts and stops services, where the page's policy lets it. */
  start(then?: () => void): void;
  /** Sends a choice; gives whether it was taken, or `null` where another is under way. */
  send(form: HTMLFormElement, button: HTMLButtonElement): Promise<boolean | void> | null;
  /** Leaves the choice to the browser, without script. */
  plain(form: HTMLFormElement, button: HTMLButtonElement): void;
}

/** What press.js gives back. */
interface Press {
  answered(response: Response, form: HTMLFormElement, button: HTMLButtonElement): Promise<boolean> | void;
  settle(isQuiet?: unknown): void;
  open(from?: HTMLAnchorElement): Promise<void>;
  decide(decision: "grant" | "deny", purposes: string[]): Promise<Granted | null>;
  once(button: HTMLElement): void;
  dress(): void;
}

/** What a site's own scripts have of it. */
interface GemConsent {
  /** The purposes that are granted; `null` before a choice. */
  readonly granted: Granted | null;
  /** Hears of what is granted, whenever that may have changed. */
  on(heed: (granted: string[]) => void): void;
  /** Opens the preferences. */
  open(): Promise<void>;
  grant(...purposes: string[]): Promise<Granted | null>;
  deny(...purposes: string[]): Promise<Granted | null>;
}

interface Window {
  gemConsent?: GemConsent;
  /** The services that run, by their id; under the empty name, whether what comes later is looked for. */
  gemConsentStarted?: Record<string, boolean>;
}

interface WindowEventMap {
  "gem-consent": CustomEvent<string[]>;
}

interface HTMLScriptElement {
  /** Takes press.js, once it has come. */
  gem(make: (shared: Shared) => Press): void;
}

// https://w3c.github.io/gpc/#javascript-property-to-detect-preference
interface Navigator {
  readonly globalPrivacyControl?: boolean;
}
