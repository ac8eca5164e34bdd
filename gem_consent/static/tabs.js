// Other tabs look at the choice anew.
const tabs = new BroadcastChannel("gem-consent");
tabs.postMessage(0);
tabs.close();
